"""Looking through the models: pages of them with small pictures, and each one's own page."""
