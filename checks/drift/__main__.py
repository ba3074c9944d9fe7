"""``python -m checks.drift [FOLDER]``: the project in a folder, the current one by default."""

from checks.drift.check import check
from checks.violations import end, folder

violations, units = check(folder())
end("Drift", violations, f"{units} containers of Compose and k8s/ fit settings, queues and ports")
