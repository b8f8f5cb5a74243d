"""A first look at data that nobody has described: what is in it, what is wrong with it, what could be predicted.

    finding   what was seen, as a code and figures
    words     findings in sentences, English and Chinese
    columns   missing values, constants, personal data, languages
    copies    exact and near copies
    targets   what could be predicted, ranked; classes and their rows
    leaks     columns that tell the target
    look      all of it, from a bounded beginning of a source

Reads at most 64 MB, keeps no value of a row in what it says.
"""
