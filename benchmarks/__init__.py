"""Measurements; each prints the machine it ran on, and ratios that survive a noisy one."""
