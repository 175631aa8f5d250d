"""The user-facing classes: a model that is loaded by name, predicts, trains and is saved.

Belongs here: `Recognizer`, one class per model, and `load`. Methods only combine functions of lower packages.
Belongs elsewhere: any computation.
"""
