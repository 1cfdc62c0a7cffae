/** How the API refuses: a code for programs, a message for people, and what to do about it. */
import { PbxError, type Result } from '../../domain/errors.ts';
import type { ErrorView } from './shapes.ts';

/** A refusal of the API itself, with its HTTP status. */
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

/** The value of a result; its failure becomes the refusal. */
export function orThrow<Value>(result: Result<Value>): Value {
  if (!result.ok) {
    throw result.error;
  }
  return result.value;
}

/** Turns whatever a handler threw into a refusal; never leaks a stack. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) {
    return error;
  }
  if (error instanceof PbxError) {
    return new ApiError(error.httpStatus, error.code, error.message, error.fix);
  }
  const thrown = error as { statusCode?: number; validation?: unknown; message?: string };
  const message = thrown.message ?? String(error);
  if (thrown.validation !== undefined) {
    return new ApiError(400, 'PBX_API_INVALID', message, 'see /api/v1/openapi.json');
  }
  if (thrown.statusCode !== undefined && thrown.statusCode >= 400 && thrown.statusCode < 500) {
    const fix = 'correct the request; see /api/v1/openapi.json';
    return new ApiError(thrown.statusCode, 'PBX_API_REFUSED', message, fix);
  }
  return new ApiError(500, 'PBX_INTERNAL', 'this server made a mistake', 'see its log');
}
