"""From recordings to prepared and encoded clips."""
