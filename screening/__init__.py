"""What decides: campaigns over thousands of candidates, ranking and the command line."""
