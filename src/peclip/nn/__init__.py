"""Building blocks of the models: preprocessing, CLIP towers, adapters, prompts, fusion.

Belongs here: modules configured by plain numbers and tensors.
Belongs elsewhere: configurations, devices, data sets and whole models (`models`).
"""
