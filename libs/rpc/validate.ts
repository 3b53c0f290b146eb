import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { pathToString } from "@bufbuild/protobuf/reflect";
import { createValidator } from "@bufbuild/protovalidate";
import { legionError } from "./errors.ts";

const validator = createValidator();

/**
 * Checks a message against the rules written in its proto.
 * @throws ConnectError INVALID_REQUEST with each violation, its path in proto spelling.
 */
export function validate<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>): void {
  const result = validator.validate(schema, message);
  if (result.kind === "valid") return;
  // A rule that cannot be compiled or evaluated is a defect of the contract, not of the caller.
  if (result.kind === "error") throw result.error;
  const violations = result.violations.map((violation) => ({
    field: pathToString(violation.field),
    description: violation.message,
  }));
  const first = violations[0];
  const more = violations.length > 1 ? ` (and ${violations.length - 1} more)` : "";
  const at = first?.field ? `${first.field}: ` : "";
  throw legionError("INVALID_REQUEST", `${at}${first?.description ?? "invalid request"}${more}`, { violations });
}
