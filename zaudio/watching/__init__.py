"""Watching: the events of a job, counted, handed out, measured and logged.

    eventlog       EventLog       the log of events, a line of JSON each
    stream         Stream         subscribers, each with a bounded queue
    ledger         Ledger         the one place that counts; progress and report come from it
    summary, lives                the sums of a log, and the classes for them
    limiting                      the limit of a job's speed, and how many workers are of use
    metering       Meter          the time of a stage, by its use
    lines, thinning               an event as a line, and back; which events get one

Rules: nothing here knows the farm, a socket or a recording. All of it is pure, but for `stream` and `eventlog`. A
module imports only from those below its own.
"""
