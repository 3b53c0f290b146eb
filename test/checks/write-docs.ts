import { readFileSync, writeFileSync } from "node:fs";
import { readmePath, readmeWithTable } from "../helm/values-table.ts";
import { dashboardJson, dashboardPath } from "../monitoring/dashboard/dashboard.ts";
import { apiPage } from "./api-page.ts";
import { configurationPage } from "./configuration-table.ts";

writeFileSync(new URL("../../docs/configuration.md", import.meta.url), configurationPage());
writeFileSync(new URL("../../docs/api.md", import.meta.url), apiPage());
writeFileSync(readmePath, readmeWithTable(readFileSync(readmePath, "utf8")));
writeFileSync(dashboardPath, dashboardJson());
