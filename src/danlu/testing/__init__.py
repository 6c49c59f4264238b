"""For those who write plug-ins: `from danlu.testing import checks; checks.run(MyTask)`."""
