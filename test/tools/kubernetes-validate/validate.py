"""Reads the YAML of Kubernetes objects from standard input; prints them, and what is wrong with them, as JSON.

Arguments: the versions of Kubernetes whose schemas they must fulfil, such as 1.30 and 1.37. An object of a kind that
Kubernetes itself does not know is told as such.
"""

import json
import sys

import kubernetes_validate
import yaml

objects = [document for document in yaml.safe_load_all(sys.stdin) if document is not None]
problems = []
unknown = []
for version in sys.argv[1:]:
    for item in objects:
        name = f"{item['kind']}/{item['metadata']['name']}"
        try:
            kubernetes_validate.validate(item, version, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            unknown.append(f"{item['apiVersion']}/{item['kind']}")
        except kubernetes_validate.ValidationError as error:
            problems.append(f"{version}: {name}: {'.'.join(map(str, error.path))}: {error.message}")
json.dump({"objects": objects, "problems": problems, "unknown": sorted(set(unknown))}, sys.stdout)
