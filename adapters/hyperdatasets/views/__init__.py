"""Views: choose and order frames of several versions, and hand them to training."""
