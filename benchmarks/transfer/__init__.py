"""What labels of one chemistry, property or method are worth for another."""
