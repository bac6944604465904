import akka.actor.ActorContext;
import akka.actor.ActorRef;
import akka.event.DiagnosticLoggingAdapter;
import fr.acinq.eclair.Kit;
import fr.acinq.eclair.Plugin;
import fr.acinq.eclair.PluginParams;
import fr.acinq.eclair.Setup;
import fr.acinq.eclair.payment.receive.MultiPartHandler.DoFulfill;
import fr.acinq.eclair.payment.receive.ReceiveHandler;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import scala.PartialFunction;
import scala.runtime.AbstractPartialFunction;
import scala.runtime.BoxedUnit;

/**
 * Lets payments wait at their payee. It is told by files of eclair's folder "hodl", named by payment hash: HASH has one wait, the plugin
 * makes HASH.waiting when all of it is there, and HASH.settle has eclair take it.
 *
 * <p>What is put aside is the message by which eclair's handler of payments tells itself to take one, after all has been checked; what was
 * put aside is sent to it again.
 */
public final class Hodl implements Plugin, ReceiveHandler {
  private static final long POLL_MILLISECONDS = 50;

  private final Map<String, DoFulfill> waiting = new ConcurrentHashMap<>();
  private Path folder;

  @Override
  public PluginParams params() {
    return () -> "hodl";
  }

  @Override
  public void onSetup(Setup setup) {
    folder = setup.datadir().toPath().resolve("hodl");
  }

  @Override
  public void onKit(Kit kit) {
    kit.paymentHandler().tell(this, ActorRef.noSender());
    Thread poller = new Thread(() -> poll(kit.paymentHandler()), "hodl");
    poller.setDaemon(true);
    poller.start();
  }

  @Override
  public PartialFunction<Object, BoxedUnit> handle(ActorContext context, DiagnosticLoggingAdapter log) {
    return new AbstractPartialFunction<>() {
      @Override
      public boolean isDefinedAt(Object message) {
        return message instanceof DoFulfill && holds(hash((DoFulfill) message));
      }

      @Override
      public <A, B> B applyOrElse(A message, scala.Function1<A, B> otherwise) {
        if (!isDefinedAt(message)) {
          return otherwise.apply(message);
        }
        put((DoFulfill) message);
        @SuppressWarnings("unchecked")
        B unit = (B) BoxedUnit.UNIT;
        return unit;
      }
    };
  }

  private static String hash(DoFulfill payment) {
    return payment.success().paymentHash().toString();
  }

  private boolean holds(String hash) {
    return Files.exists(folder.resolve(hash)) && !Files.exists(folder.resolve(hash + ".settle"));
  }

  private void put(DoFulfill payment) {
    waiting.put(hash(payment), payment);
    try {
      Files.createFile(folder.resolve(hash(payment) + ".waiting"));
    } catch (IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }

  /** Takes what is to be taken. */
  private void poll(ActorRef handler) {
    try {
      for (; ; Thread.sleep(POLL_MILLISECONDS)) {
        for (String hash : waiting.keySet()) {
          if (!holds(hash)) {
            handler.tell(waiting.remove(hash), ActorRef.noSender());
          }
        }
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
