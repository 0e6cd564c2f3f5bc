"""What it takes to run the service for others: docs/deployment.md is the guide."""
