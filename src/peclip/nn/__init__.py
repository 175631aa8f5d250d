"""Building blocks of the models: CLIP towers, adapters, prompts, fusion.

Belongs here: modules that take numbers and tensors.
Belongs elsewhere: configurations, devices, data sets and whole models (`models`).
"""
