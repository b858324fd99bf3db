import type { OpenedRequest } from "../codec/index.js";
import type { Link } from "../link/link.js";
import type { Session } from "../link/session.js";
import type { RequestRecord } from "../wire/request-record.js";
import { surveyorBytes } from "../wire/survey-record.js";
import { Job, type Service } from "./job.js";

/** A survey at this worker: a request that others get too, and whose reply says whose it is. */
export class SurveyJob extends Job {
  override readonly kind = "survey";
  protected override readonly direction = "survey";
  readonly #session: Session;

  constructor(
    link: Link | undefined,
    options: Service,
    record: RequestRecord,
    nowMs: number,
    session: Session,
  ) {
    super(link, options, record, nowMs);
    this.#session = session;
  }

  /** Bound to this worker: nobody can pass it off as another's. */
  protected override sealReply(opened: OpenedRequest, result: unknown) {
    return opened.sealSoon(result, surveyorBytes(this.#session));
  }
}
