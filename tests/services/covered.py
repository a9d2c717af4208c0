"""Run an agent in the node and measure which lines of the library it uses: ``covered.py AGENT ACTION``.

The agent's checks run in threads of ``_thread`` and end by ``os._exit``; coverage knows of neither.
"""

import _thread
import os
import runpy
import sys
import threading

sys.path.append("/usr/lib/python3/dist-packages")
import coverage

DATA = "/var/tmp/coverage"

os.makedirs(DATA, exist_ok=True)
measurement = coverage.Coverage(
    data_file=f"{DATA}/.coverage", data_suffix=True, branch=True, source=["/usr/lib/ocf/lib/openstack/ocf_common"]
)
measurement.start()
start_thread, leave = _thread.start_new_thread, os._exit


def start_traced(function, arguments):
    def run(*given):
        sys.settrace(threading.gettrace())
        return function(*given)

    return start_thread(run, arguments)


def save_and_leave(code):
    measurement.stop()
    measurement.save()
    leave(code)


_thread.start_new_thread, os._exit = start_traced, save_and_leave
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
