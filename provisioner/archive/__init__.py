"""Reproducible readers and writers of tar, cpio and compressed streams; no policy."""
