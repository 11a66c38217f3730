"""A job, from a user's wishes to its end. The public faces beside this folder (`Coordinator` and its kin) stand on it.

    life           Life           the thread of a job, a batch or a measurement; events, stop and wait
    preparation    open_job()     the opening of all that a job needs
    ready          OpenJob        a job that is ready to run; it publishes
    staffing                      the farm that runs it, and the workers that it starts elsewhere
    outputs, fileoutput           the choice of a destination, and the traces of an earlier life there
    stages                        measuring stages and the main one
    cutting                       a stage, cut into chunks; small ones in bundles
    inputs                        the choice of a source: a file, a stream, or a sealed result
    classes        JobClass       a job's class of machines, over its stages and lives
    request        Request        a user's wishes, parsed and checked

Rules: a module imports only from those below its own.
"""
