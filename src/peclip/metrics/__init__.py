"""Numbers about predictions: confusion matrix, report, intervals, calibration error, means over folds.

Belongs here: computing and plotting scores from targets and predictions, prediction tables, and their files; no torch.
Belongs elsewhere: making the predictions (`training`, `runs`) and the rows that users get (`results`).
"""
