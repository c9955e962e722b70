"""What is known of a file before it belongs to a record."""
