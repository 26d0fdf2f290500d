"""What several tests use: made pages and files, servers, faulty processes."""
