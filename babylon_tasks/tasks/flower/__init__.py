"""What Flower shows, and the patches that make it do so."""
