"""What is kept of answers so that they can be learnt from: records, truths, the review queue, reasons."""
