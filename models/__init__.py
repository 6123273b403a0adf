"""What learns: networks, baselines, their training, their uncertainty and the shipped library."""
