"""What the workers that react to session events share."""
