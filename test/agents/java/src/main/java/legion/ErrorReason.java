package legion;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;
import io.grpc.protobuf.StatusProto;

/** The stable word that the mesh adds to an error's status code. */
public final class ErrorReason {
    private ErrorReason() {}

    /** Such as {@code SESSION_FENCED}; empty if the error is not the mesh's own. */
    public static String of(Throwable error) {
        com.google.rpc.Status status = StatusProto.fromThrowable(error);
        if (status == null) {
            return "";
        }
        try {
            for (Any detail : status.getDetailsList()) {
                if (detail.is(ErrorInfo.class)) {
                    return detail.unpack(ErrorInfo.class).getReason();
                }
            }
        } catch (InvalidProtocolBufferException unreadable) {
            // What cannot be read is treated like what is not there.
        }
        return "";
    }
}
