/** The name of a policy, as agents request it and calls record it: `LINEAGE@STEP`. */

const NAMED = /@([0-9]{1,9})$/;

/** Find the checkpoint in a model's name, 12 in `babylon@12`; undefined where it names none. */
export function policyStep(model: string): number | undefined {
  const step = NAMED.exec(model)?.[1];
  return step === undefined ? undefined : Number(step);
}
