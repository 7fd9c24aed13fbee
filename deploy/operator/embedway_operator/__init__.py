"""The routing operator: makes Triton deployments and the routers' configuration from resources."""
