"""What a run costs and lacks, before it is started."""
