"""World-consistent video generation with retrieved local spatial memories."""
