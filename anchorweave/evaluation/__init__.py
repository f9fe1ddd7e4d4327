"""How well a video fits what was really there."""
