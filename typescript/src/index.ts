/** Record what agents do, in Babylon's own tables, without ever blocking or failing an agent. */

export { policyStep } from "./policy-names.ts";
export { Recorder, type RecorderOptions, type Start } from "./recorder.ts";
export {
  type AgentStep,
  type Call,
  type Finish,
  type Recording,
  type Result,
  type World,
} from "./recording.ts";
export { type RecordingFetchOptions, recordingFetch } from "./recording-fetch.ts";
export { windowEnd, windowId, windowStart } from "./windows.ts";
