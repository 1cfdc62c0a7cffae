/** What may be asked of a media server inside its process; calls reach it by NG. */
export interface MediaServerApi {
  status(): { sessions: number; portsFree: number };
}
