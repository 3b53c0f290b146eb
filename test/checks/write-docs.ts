import { readFileSync, writeFileSync } from "node:fs";
import { readmePath, readmeWithTable } from "../helm/values-table.ts";
import { dashboardJson, dashboardPath } from "../monitoring/dashboard/dashboard.ts";
import { configurationPage } from "./configuration-table.ts";

writeFileSync(new URL("../../docs/configuration.md", import.meta.url), configurationPage());
writeFileSync(readmePath, readmeWithTable(readFileSync(readmePath, "utf8")));
writeFileSync(dashboardPath, dashboardJson());
