"""Images or a trained model in, a bundle out."""
