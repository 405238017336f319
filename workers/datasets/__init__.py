"""Readers of data sets: each turns files (or nothing) into raw uint8 images and labels."""
