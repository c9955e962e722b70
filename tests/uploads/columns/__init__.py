"""The columns and tables of records with files."""
