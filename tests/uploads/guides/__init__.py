"""The guides, the examples and the installation, run as they are written."""
