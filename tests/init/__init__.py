"""Tests of what runs in the machine: components/init and components/getty, as far as no machine is needed."""
