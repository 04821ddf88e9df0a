"""The command language of the magics: one table makes the parser, the ``?`` text, ``help`` and Tab; pure.

commands    what a line means: the values that the parser makes
options     the table of commands and options
values      from an option's text to its value
parser      a line
cell        a cell
help        the texts of help, and the reference, which is in the README too
completion  what may come next
"""
