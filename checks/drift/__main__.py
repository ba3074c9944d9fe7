"""``python -m checks.drift [FOLDER]``: the project in a folder, the current one by default."""

import sys
from pathlib import Path

from checks.drift.check import check
from checks.violations import end

violations, units = check(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
end("Drift", violations, f"{units} containers of Compose and k8s/ fit settings, queues and ports")
