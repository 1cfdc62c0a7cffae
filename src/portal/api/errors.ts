/** How the API refuses: a code for programs, a message for people, and what to do about it. */
import type { ErrorView } from './shapes.ts';

/** A refusal with its HTTP status. */
export class ApiError extends Error {
  readonly status: number;
  readonly view: ErrorView;

  constructor(status: number, code: string, message: string, fix: string) {
    super(message);
    this.name = 'ApiError';
    this.status = status;
    this.view = { code, message, fix };
  }
}

/** Turns whatever a handler threw into a refusal; never leaks a stack. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) {
    return error;
  }
  const thrown = error as { statusCode?: number; validation?: unknown; message?: string };
  const message = thrown.message ?? String(error);
  if (thrown.validation !== undefined) {
    return new ApiError(400, 'PBX_API_INVALID', message, 'see /api/v1/openapi.json');
  }
  if (thrown.statusCode !== undefined && thrown.statusCode >= 400 && thrown.statusCode < 500) {
    return new ApiError(
      thrown.statusCode,
      'PBX_API_REFUSED',
      message,
      'correct the request; see /api/v1/openapi.json',
    );
  }
  if (/no leader|not leader|timed? ?out|unavailable/i.test(message)) {
    return new ApiError(
      503,
      'PBX_STORE_UNAVAILABLE',
      message,
      'ask again in a second; if it stays, see that two Call Managers are up',
    );
  }
  return new ApiError(500, 'PBX_INTERNAL', 'this server made a mistake', 'see its log');
}
