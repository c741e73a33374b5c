"""Data sets, one a file; none of them downloads anything, and `data=NAME` chooses one.

| name      | inputs            | targets    | samples | licence            | where it comes from  |
|-----------|-------------------|------------|---------|--------------------|----------------------|
| `digits`  | 8, 8, 1           | 10         | 1797    | CC BY 4.0          | scikit-learn         |
| `mnist`   | 28, 28, 1 or less | 10         | 5000    | CC BY-SA 3.0       | `rodflow[mnist]`     |
| `mnist1d` | 40, 1             | 10         | any     | Apache 2.0         | made from a seed     |
| `patches` | 32, 32, 3 or less | 2          | 520     | CC BY 2.0          | scikit-learn         |
| `cifar10` | 32, 32, 3 or less | 10 or less | 50000   | none stated        | a folder of the user |
| `sorting` | 2 n, s + 1        | n, s       | any     | -                  | made from a seed     |
| `copying` | 2 n, s + 1        | n, s       | any     | -                  | made from a seed     |
| `text`    | n, 45             | n, 45      | 856 - n | public domain      | `import this`        |

The shapes are those of one sample; n is the length and s the number of symbols of a sequence. The
licences are those of the data. scikit-learn comes with `rodflow[experiments]`; CIFAR-10 is to be
downloaded from https://www.cs.toronto.edu/~kriz/cifar.html. The smaller of two data sets with the
same arguments but the size is a prefix of the larger one. Where there are classes, they alternate.
"""
