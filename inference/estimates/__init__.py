"""What a sampling run takes, before it is started."""
