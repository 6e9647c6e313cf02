# SPDX-License-Identifier: MIT
"""Stands in for the package safetensors where that is not installed: what the printed modules call, no more."""
