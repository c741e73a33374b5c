"""The commands of the application, one a file, and what they share."""

COMMANDS = {
    "run": "train a network with one optimizer and follow it with its flows",
    "sweep": "the same for many values of numeric keys, as lanes of one program",
    "study": "answer a question, or compute a grid of runs, optimizers x problems",
    "search": "find learning rates at which the optimizers of a grid reach the edge",
    "report": "make an offline page and figures of the results below a folder",
    "bench": "measure speed, memory and accuracy, and print them",
    "results": "measure, and keep the results as data that the documentation shows",
}
