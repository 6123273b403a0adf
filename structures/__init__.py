"""What a material is, and the ion-transport physics that follows from it."""
