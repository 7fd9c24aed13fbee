"""Tokens of identity providers (OpenID Connect), checked against the provider's public keys."""
