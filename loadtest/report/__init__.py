"""What a load test found, as a page, a table and terminal output."""
